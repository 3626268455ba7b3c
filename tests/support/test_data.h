#pragma once

#include <cstdlib>
#include <filesystem>

namespace lapidary {

/// The repository, where tests find configs/ and tests/golden/; on a machine that did not build the tests the
/// folder that LAPIDARY_TEST_DATA names, with these two in it.
inline std::filesystem::path test_data() {
  const char* elsewhere = std::getenv("LAPIDARY_TEST_DATA");
  return elsewhere != nullptr ? elsewhere : LAPIDARY_SOURCE_DIR;
}

}  // namespace lapidary
