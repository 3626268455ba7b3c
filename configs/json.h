#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lapidary {

/// The parsed file. Throws a sentence naming the file: missing, larger than 1 GiB, or not JSON (with the byte
/// where it stops being it).
boost::json::value read_json_file(const std::filesystem::path& path);
/// The same of text already in memory; `where` names it in sentences.
boost::json::value parse_json(std::string_view text, const std::string& where);

/// A JSON object together with where it stands, so that every complaint names file and field. A field may be
/// absent, null, or hold a value: `has` is false only for the first, the optional getters give nothing for
/// the first two. Getters throw a sentence when the value is of another kind or does not fit.
class JsonObject {
 public:
  JsonObject(const boost::json::value& value, std::string where);

  const std::string& where() const { return where_; }
  bool has(std::string_view field) const { return object_->contains(field); }
  bool is_null(std::string_view field) const;
  /// Null where the field is absent.
  const boost::json::value* find(std::string_view field) const { return object_->if_contains(field); }

  std::optional<int64_t> optional_int(std::string_view field) const;
  std::optional<double> optional_number(std::string_view field) const;
  std::optional<bool> optional_bool(std::string_view field) const;
  std::optional<std::string> optional_string(std::string_view field) const;
  std::optional<JsonObject> optional_object(std::string_view field) const;

  int64_t required_int(std::string_view field) const;
  double required_number(std::string_view field) const;
  std::string required_string(std::string_view field) const;
  JsonObject required_object(std::string_view field) const;
  const boost::json::array& required_array(std::string_view field) const;

  /// "config.json: 'text_config.hidden_size' is "wide", a whole number is needed"
  [[noreturn]] void fail_kind(std::string_view field, const char* needed) const;

 private:
  std::string name_of(std::string_view field) const {
    return path_.empty() ? std::string(field) : path_ + "." + std::string(field);
  }
  template <class T>
  T need(std::optional<T> value, std::string_view field) const;

  const boost::json::object* object_;
  std::string where_;  // the file
  std::string path_;   // of this object inside it
};

}  // namespace lapidary
