#include "coordinator/text/json_text.h"

#include <boost/json.hpp>

#include "coordinator/text/utf8.h"

namespace lapidary {
namespace {

std::string valid_utf8(std::string_view text) {
  std::string valid;
  while (const auto bad = invalid_utf8(text)) {
    valid += text.substr(0, *bad);
    valid += "\xEF\xBF\xBD";
    text.remove_prefix(*bad + 1);
  }
  return valid.append(text);
}

}  // namespace

std::string json_string(std::string_view text) {
  return boost::json::serialize(boost::json::string(valid_utf8(text)));
}

}  // namespace lapidary
