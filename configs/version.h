#pragma once

namespace lapidary {

/// The program's version, as CMakeLists.txt has it. Coordinator and workers must have the same.
const char* program_version();

}  // namespace lapidary
