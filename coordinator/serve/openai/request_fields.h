#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "configs/json.h"

namespace lapidary {

/// The JSON of a request's body: an object, nested at most 32 deep; of equal keys the last one counts. Throws
/// ApiError.
boost::json::value parse_body(std::string_view body);

/// A value as an error shows it: short, and valid UTF-8.
std::string shown(const boost::json::value& value);
std::string shown(std::string_view text);

/// Fields of an object of a request, null ones like absent ones. Throws ApiError, whose param is the field's
/// place ("messages[0].content"), for a value of another kind or outside its range. The object must outlive
/// it.
class RequestFields {
 public:
  /// `path` is what leads to the object, "" for the outermost.
  explicit RequestFields(const boost::json::value& value, std::string path = "");

  /// Null where absent.
  const boost::json::value* find(std::string_view name) const;
  std::string param(std::string_view name) const;

  /// Whole numbers: 8 and 8.0. Both limits belong to the range.
  std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most) const;
  /// Whole numbers of 64 bits written without a point: what a double cannot hold must not be rounded.
  std::optional<int64_t> exact_integer(std::string_view name) const;
  /// `least` itself only where `closed`.
  std::optional<double> number(std::string_view name, double least, double most, bool closed = true) const;
  std::optional<bool> flag(std::string_view name) const;
  std::optional<std::string> text(std::string_view name, size_t most_bytes = kAnyLength) const;
  const boost::json::array* list(std::string_view name) const;
  std::optional<RequestFields> object(std::string_view name) const;
  const boost::json::object& raw() const { return *object_; }

  /// Throws ApiError: the field is missing.
  [[noreturn]] void refuse_missing(std::string_view name) const;

 private:
  static constexpr size_t kAnyLength = std::numeric_limits<size_t>::max();

  const boost::json::object* object_;
  std::string path_;
};

/// Throws ApiError: `param` is `value`, not `wanted`.
[[noreturn]] void refuse_type(const std::string& param, const boost::json::value& value,
                              std::string_view wanted);

/// The same checks for a value that is no field.
int64_t to_integer(const boost::json::value& value, const std::string& param, int64_t least, int64_t most);
std::string to_text(const boost::json::value& value, const std::string& param,
                    size_t most_bytes = std::numeric_limits<size_t>::max());
std::string_view to_text_view(const boost::json::value& value, const std::string& param);

}  // namespace lapidary
