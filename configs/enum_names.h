#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "configs/error.h"

namespace lapidary {

/// The names of an enum's values, in their order, as users write them. An enum of options specialises it:
/// `static constexpr std::array<const char*, N> kNames{…}`.
template <class Enum>
struct EnumNames;

template <class Enum>
constexpr const char* enum_name(Enum value) {
  return EnumNames<Enum>::kNames[static_cast<size_t>(value)];
}

/// Throws a sentence that lists the names.
template <class Enum>
Enum enum_named(std::string_view name) {
  std::string names;
  for (size_t i = 0; i < EnumNames<Enum>::kNames.size(); ++i) {
    if (name == EnumNames<Enum>::kNames[i]) return static_cast<Enum>(i);
    names += (i > 0 ? ", " : "") + std::string(EnumNames<Enum>::kNames[i]);
  }
  fail("'", name, "' is none of ", names);
}

}  // namespace lapidary
