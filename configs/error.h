#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace lapidary {

/// What a user did wrong or a file got wrong, in one sentence that names the culprit and both numbers.
/// It ends the command, the request or the record, never the process in mid-work; broken invariants of our
/// own are std::logic_error.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Joins anything that streams into one string: cat("rows ", 3, " of ", 4).
template <class... Parts>
std::string cat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(cat(parts...));
}

}  // namespace lapidary
