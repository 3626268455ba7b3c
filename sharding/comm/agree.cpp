#include "configs/error.h"
#include "configs/failure_text.h"
#include "sharding/comm/communicator.h"

namespace lapidary {

std::vector<std::string> gather_texts(Communicator& comm, const std::string& mine) {
  const auto ranks = static_cast<size_t>(comm.size());
  const size_t length = mine.size();
  std::vector<size_t> lengths(ranks), eight(ranks, sizeof(size_t));
  comm.all_gather(reinterpret_cast<std::byte*>(lengths.data()), std::as_bytes(std::span(&length, 1)), eight);
  size_t total = 0;
  for (size_t n : lengths) total += n;
  std::string all(total, '\0');
  comm.all_gather(reinterpret_cast<std::byte*>(all.data()), std::as_bytes(std::span(mine)), lengths);
  std::vector<std::string> texts;
  size_t at = 0;
  for (size_t n : lengths) {
    texts.push_back(all.substr(at, n));
    at += n;
  }
  return texts;
}

void agree(Communicator& comm, const std::function<void()>& body) {
  std::string trouble;
  try {
    body();
  } catch (const std::exception& e) {
    trouble = failure_text(e);
  }
  for (const std::string& text : gather_texts(comm, trouble))
    if (!text.empty()) throw Error(text);
}

}  // namespace lapidary
