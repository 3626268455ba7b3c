#pragma once

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "configs/enum_names.h"

namespace lapidary {

/// "1048576", not "1.04858e+06".
inline std::string plain_number(double number) {
  return std::trunc(number) == number && std::abs(number) < 1e15 ? cat(static_cast<int64_t>(number))
                                                                 : cat(number);
}

/// A number from `min` to `max`, both included: what is too large for its type is not cut to fit it, and nan
/// and inf are none. `name` stands in the help.
inline CLI::Validator between(double min, double max, std::string name = {}) {
  if (name.empty()) name = cat("in [", plain_number(min), " - ", plain_number(max), "]");
  return {[min, max](const std::string& text) -> std::string {
            double number = 0;
            if (CLI::detail::lexical_cast(text, number) && number >= min && number <= max) return {};
            return cat("'", text, "' is no number from ", plain_number(min), " to ", plain_number(max));
          },
          name};
}
/// What no machine has and no job needs, so that products of such numbers stay numbers.
constexpr double kAbsurd = 1e9;
inline CLI::Validator positive(double max = kAbsurd) { return between(1, max, "POSITIVE"); }
inline CLI::Validator non_negative(double max = kAbsurd) { return between(0, max, "NONNEGATIVE"); }
/// Of all 64 bits.
inline CLI::Validator seed_number() {
  return {[](const std::string& text) -> std::string {
            uint64_t number = 0;
            const char* end = text.data() + text.size();
            const auto [stop, error] = std::from_chars(text.data(), end, number);
            if (error == std::errc() && stop == end) return {};
            return cat("'", text, "' is no whole number from 0 to ", UINT64_MAX);
          },
          "SEED"};
}

/// A row of a table of options: all that is known of one, said once. A table is a function that visits a
/// struct's members with their rows; flags, the arguments of a started worker, what ranks agree on and what a
/// job keeps are visitors of it.
struct OptionRow {
  std::string flags;  // as CLI11 reads them: "--tp,--tensor-parallel-size"; "!--no-x" turns a bool off
  std::string help;
  std::optional<CLI::Validator> check{};  // of the value as it is written
  char delimiter = 0;                     // between the values of a list
  std::string environment{};              // a variable that stands in for the flag
  bool required = false;
  bool shows_default = true;
  bool agreed = false;  // all ranks of a job must have the same
  bool kept = false;    // decides what records say: a job is resumed with the same only
  /// What of the value counts where it is compared; empty: all of it.
  std::string (*compared)(const std::string&) = nullptr;

  /// "tensor-parallel-size" is a name of the option, the first one is its own.
  std::string name() const {
    const size_t begin = flags.find("--") + 2;
    return flags.substr(begin, flags.find(',', begin) - begin);
  }
};

inline std::string option_text(bool value) { return value ? "true" : "false"; }
inline std::string option_text(const std::string& value) { return value; }
inline std::string option_text(const std::filesystem::path& value) { return value.string(); }
inline std::string option_text(const std::vector<int64_t>& values) {
  std::string text;
  for (const int64_t value : values) text += (text.empty() ? "" : ",") + std::to_string(value);
  return text;
}
template <class T>
std::string option_text(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return enum_name(value);
  } else {
    return std::to_string(value);
  }
}

/// An option whose values are the names of an enum.
template <class Enum>
CLI::Option* add_enum_option(CLI::App& command, const std::string& flags, Enum& value,
                             const std::string& help) {
  const auto& names = EnumNames<Enum>::kNames;
  return command
      .add_option_function<std::string>(
          flags, [&value](const std::string& name) { value = enum_named<Enum>(name); }, help)
      ->check(CLI::IsMember(std::vector<std::string>(names.begin(), names.end())))
      ->default_str(enum_name(value));
}

/// Makes a flag of each row; with `only`, of the rows of these names.
class FlagVisitor {
 public:
  explicit FlagVisitor(CLI::App& command, std::vector<std::string> only = {})
      : command_(command), only_(std::move(only)) {}

  template <class T>
  void operator()(const OptionRow& row, T& value) {
    if (!only_.empty() && std::find(only_.begin(), only_.end(), row.name()) == only_.end()) return;
    CLI::Option* option = nullptr;
    if constexpr (std::is_same_v<T, bool>) {
      option = command_.add_flag(row.flags, value, row.help);
    } else if constexpr (std::is_enum_v<T>) {
      option = add_enum_option(command_, row.flags, value, row.help);
    } else {
      option = command_.add_option(row.flags, value, row.help);
      if (row.shows_default) option->capture_default_str();
    }
    if (row.check) option->check(*row.check);
    if (row.delimiter != 0) option->delimiter(row.delimiter);
    if (!row.environment.empty()) option->envname(row.environment);
    if (row.required) option->required();
  }

 private:
  CLI::App& command_;
  std::vector<std::string> only_;
};

/// Writes each row as a command line has it, for a process that is to be built alike.
struct ArgumentVisitor {
  std::vector<std::string> arguments{};

  template <class T>
  void operator()(const OptionRow& row, const T& value) {
    const std::string flag = "--" + row.name(), text = option_text(value);
    if constexpr (std::is_same_v<T, bool>) {
      if (value != row.flags.starts_with('!')) arguments.push_back(flag);
    } else if (!text.empty()) {
      arguments.insert(arguments.end(), {flag, text});
    }
  }
};

/// Name and value of the rows that `wanted` picks.
struct ComparedVisitor {
  bool OptionRow::*wanted;
  std::vector<std::pair<std::string, std::string>> values{};

  template <class T>
  void operator()(const OptionRow& row, const T& value) {
    if (!(row.*wanted)) return;
    const std::string text = option_text(value);
    values.emplace_back(row.name(), row.compared != nullptr ? row.compared(text) : text);
  }
};

}  // namespace lapidary
