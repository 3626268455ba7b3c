#include "coordinator/dataset/item_reader.h"

namespace lapidary {
namespace {

/// Of prompts that wait; pictures have a budget of their own. One item may always wait.
constexpr size_t kMostText = size_t{64} << 20;

size_t text_bytes(const DatasetItem& item) {
  return item.key.size() + (item.prompt ? item.prompt->size() : 0) +
         (item.prefix ? item.prefix->size() * sizeof(int32_t) : 0);
}

}  // namespace

ItemReader::ItemReader(InputSource source, size_t ahead, std::function<void()> news)
    : ahead_(ahead), news_(std::move(news)) {
  thread_ = std::thread([this, source = std::move(source)] { read(source); });
}

ItemReader::~ItemReader() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void ItemReader::read(const InputSource& source) {
  for (bool more = true; more;) {
    std::optional<DatasetItem> item;
    std::exception_ptr trouble;
    try {
      item = source();
    } catch (...) {
      trouble = std::current_exception();
    }
    more = item.has_value();
    bool was_empty = false;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] {
        return closing_ || items_.empty() || (items_.size() < ahead_ && text_bytes_ < kMostText);
      });
      if (closing_) return;
      was_empty = items_.empty();
      if (item) {
        text_bytes_ += text_bytes(*item);
        items_.push_back(std::move(*item));
      }
      trouble_ = trouble;
      exhausted_ = !more;
    }
    if (was_empty || !more) news_();
  }
}

std::optional<DatasetItem> ItemReader::take() {
  std::optional<DatasetItem> item;
  {
    const std::lock_guard lock(mutex_);
    if (items_.empty()) {
      if (trouble_) std::rethrow_exception(std::exchange(trouble_, nullptr));
      return std::nullopt;
    }
    item = std::move(items_.front());
    items_.pop_front();
    text_bytes_ -= text_bytes(*item);
  }
  changed_.notify_one();
  return item;
}

bool ItemReader::ended() const {
  const std::lock_guard lock(mutex_);
  return exhausted_ && items_.empty() && !trouble_;
}

}  // namespace lapidary
