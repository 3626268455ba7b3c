#pragma once

#include <string>

#include "configs/error.h"

namespace lapidary {

/// The sentence with which `body` fails, or "no error".
template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace lapidary
