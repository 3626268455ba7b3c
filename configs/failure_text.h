#pragma once

#include <exception>
#include <string>

namespace lapidary {

/// What a failure says to a user: an Error's own sentence, and one for what the library says in its own words
/// only ("std::bad_alloc", "Resource temporarily unavailable"), with what to do about it.
std::string failure_text(const std::exception& failure);

/// Its text of memory that has ended, for who has none left to make a text.
extern const char* const kNoMemory;

}  // namespace lapidary
