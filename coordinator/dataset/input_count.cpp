#include <algorithm>

#include "configs/error.h"
#include "coordinator/dataset/input_lines.h"
#include "coordinator/dataset/input_manifest.h"
#include "coordinator/dataset/input_sources.h"
#include "coordinator/dataset/inputs.h"
#include "coordinator/dataset/tar_reader.h"

namespace lapidary {
namespace {

/// Counts what the readers would give, with less work where that is possible.
class Counter {
 public:
  Counter(size_t prompts, const std::atomic<bool>& cancelled)
      : prompts_(std::max<int64_t>(1, static_cast<int64_t>(prompts))), cancelled_(cancelled) {}

  void count(const InputSource& source) {
    if (source.kind == SourceKind::image) {
      items_ += prompts_;
    } else if (source.kind == SourceKind::manifest) {
      count_with_error([&] { count_lines(source.path); });
    } else if (source.kind == SourceKind::tar) {
      count_with_error([&] { count_entries(source.path); });
    } else {
      const auto reader = open_source(source);
      while (auto found = cancelled_ ? std::nullopt : reader->next()) add(*found);
    }
  }

  int64_t items() const { return items_; }

 private:
  void add(const SourceItem& found) {
    if (found.error)
      ++items_;
    else
      items_ += found.prompts.empty() ? prompts_ : static_cast<int64_t>(found.prompts.size());
  }

  /// A source that breaks ends with an item that says so.
  template <class Count>
  void count_with_error(const Count& count) {
    try {
      count();
    } catch (const Error&) {
      ++items_;
    }
  }

  void count_lines(const std::string& path) {
    LineReader lines(path);
    std::string_view line;
    for (bool more = true; more && !cancelled_;) {
      bool given = false;
      count_with_error([&] { given = more = lines.next(line); });
      if (!given) continue;
      if (is_json_list(line, lines.number())) {
        ++items_;
        return;
      }
      // With one prompt a line is one item, good or bad, unless it has a list.
      if (prompts_ == 1 && line.find('[') == line.npos)
        ++items_;
      else
        count_with_error([&] { add(parse_manifest_line(line, "", path)); });
    }
  }

  void count_entries(const std::string& path) {
    TarReader tar(path, {.bytes = TarReader::Bytes::skip, .cancelled = &cancelled_});
    while (const auto entry = cancelled_ ? std::nullopt : tar.next()) items_ += entry->error ? 1 : prompts_;
  }

  const int64_t prompts_;
  const std::atomic<bool>& cancelled_;
  int64_t items_ = 0;
};

}  // namespace

std::optional<int64_t> count_items(const std::vector<std::string>& sources, size_t prompts,
                                   const std::atomic<bool>& cancelled) {
  Counter counter(prompts, cancelled);
  try {
    for (const InputSource& source : resolve_sources(sources).all) {
      if (source.kind == SourceKind::list) return std::nullopt;
      counter.count(source);
      if (cancelled) return std::nullopt;
    }
  } catch (const Error&) {  // a source is gone: whoever reads them says so
    return std::nullopt;
  }
  return counter.items();
}

}  // namespace lapidary
