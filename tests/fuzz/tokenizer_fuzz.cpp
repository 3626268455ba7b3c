#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "configs/error.h"
#include "coordinator/text/boxes.h"
#include "coordinator/text/prompt.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"

namespace {

using namespace lapidary;

void require(bool holds) {
  if (!holds) std::abort();
}

void read_and_encode(std::string_view json, std::string_view text) {
  const Tokenizer tokenizer = Tokenizer::from_json(json);
  const auto ids = tokenizer.encode(text);
  for (const int32_t id : ids) require(tokenizer.id_of(tokenizer.token(id)) == id);
  for (const bool skip_special : {false, true}) require(!invalid_utf8(tokenizer.decode(ids, skip_special)));
  prefix_ids(tokenizer, tokenizer.id_of("<image>").value_or(0), 1, 2, text);
}

}  // namespace

/// A tokenizer.json, a zero byte, a text: ids that are the tokenizer's own and decode to UTF-8, or an Error.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = input.find('\0');
  const std::string_view text = end == input.npos ? input : input.substr(end + 1);
  try {
    read_and_encode(input.substr(0, end), text);
  } catch (const Error&) {
  }
  parse_boxes(text, 640, 480);
  return 0;
}
