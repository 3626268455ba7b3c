#include "coordinator/serve/openai/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>

#include "coordinator/text/json_text.h"

namespace lapidary {
namespace {

template <class Number>
std::string number_text(Number number) {
  std::array<char, 32> text;  // the longest double has 24 characters
  return {text.data(), std::to_chars(text.begin(), text.end(), number).ptr};
}

}  // namespace

void JsonWriter::part() {
  if (!first_) out_ += ',';
  first_ = false;
}

JsonWriter& JsonWriter::open(char bracket) {
  part();
  out_ += bracket;
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  out_ += bracket;
  first_ = false;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  value(name);
  out_ += ':';
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  part();
  out_ += json;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) { return raw(json_string(text)); }

JsonWriter& JsonWriter::value(double number) {
  return raw(std::isfinite(number) ? number_text(number) : "null");
}

JsonWriter& JsonWriter::whole(int64_t number) { return raw(number_text(number)); }

}  // namespace lapidary
