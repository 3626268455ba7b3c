#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

/// All bytes of a regular file of at most `limit` bytes. Throws one sentence that names the file, also where
/// it only stands in another's place (stand_in.h).
std::string read_text_file(const std::filesystem::path& file, uint64_t limit = uint64_t{1} << 30);

/// JSON, nested at most 64 deep, and what Python's json takes and writes beside it: a byte-order mark, NaN,
/// Infinity and halves of surrogate pairs, all of which are refused where they are asked for, and only there.
/// `source` (a file's name) begins every error; a syntax error names the byte. `memory` may be a
/// boost::json::monotonic_resource: large files then load in a fraction of the time.
boost::json::value parse_json(std::string_view text, const std::string& source,
                              boost::json::storage_ptr memory = {});

/// read_text_file, then parse_json.
boost::json::value read_json_file(const std::filesystem::path& file, boost::json::storage_ptr memory = {});

/// A view of a JSON object whose errors name the source and the field: "config.json: text_config.head_dim is
/// …". The value must outlive it. A null is not an absent field: `has` is true for it, `is_null` tells it
/// apart.
///   required_X  throws for absent and null;
///   X_or        gives the default where absent, throws for null;
///   optional_X  is empty for absent and for null.
class JsonObject {
 public:
  /// Throws where `value` is not an object. `path` is what leads to it inside the source, "" for the
  /// outermost.
  JsonObject(const boost::json::value& value, std::string source, std::string path = "");

  bool has(std::string_view field) const;
  bool is_null(std::string_view field) const;  // present, and null
  const boost::json::value* find(std::string_view field) const;
  const boost::json::value& at(std::string_view field) const;  // throws where absent
  const boost::json::object& raw() const { return *object_; }

  /// Whole numbers only: 8 and 8.0 are taken, 8.5 and "8" are not; both limits belong to the range.
  int64_t required_int(std::string_view field, int64_t least = kLeast, int64_t most = kMax) const;
  int64_t int_or(std::string_view field, int64_t otherwise, int64_t least = kLeast,
                 int64_t most = kMax) const;
  std::optional<int64_t> optional_int(std::string_view field, int64_t least = kLeast,
                                      int64_t most = kMax) const;

  double required_double(std::string_view field) const;
  double double_or(std::string_view field, double otherwise) const;
  std::optional<double> optional_double(std::string_view field) const;

  bool required_bool(std::string_view field) const;
  bool bool_or(std::string_view field, bool otherwise) const;
  std::optional<bool> optional_bool(std::string_view field) const;

  std::string required_string(std::string_view field) const;
  std::string string_or(std::string_view field, std::string_view otherwise) const;
  std::optional<std::string> optional_string(std::string_view field) const;

  JsonObject required_object(std::string_view field) const;
  std::optional<JsonObject> optional_object(std::string_view field) const;

  /// Lists throw where absent, null or holding another kind; ask `has` first where a list may be missing.
  const boost::json::array& required_list(std::string_view field) const;
  std::vector<int64_t> ints(std::string_view field, int64_t least = kLeast, int64_t most = kMax) const;
  std::vector<double> doubles(std::string_view field) const;
  std::vector<std::string> strings(std::string_view field) const;
  std::vector<JsonObject> objects(std::string_view field) const;

  /// "config.json: text_config.head_dim": how errors begin; for checks that the caller makes.
  std::string where(std::string_view field) const;

 private:
  static constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  static constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

  /// Present and not null.
  const boost::json::value* held(std::string_view field) const;

  const boost::json::object* object_;
  std::string source_;
  std::string path_;
};

}  // namespace lapidary
