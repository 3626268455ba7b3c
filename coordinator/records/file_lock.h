#pragma once

namespace lapidary {

/// Locks an open file for this process alone, until it is closed or the process dies. Whether that was had
/// within `seconds`; else errno says why not, EWOULDBLOCK that another has it.
bool lock_within(int fd, double seconds);

/// What users may not know to be another run; the end of a sentence.
inline constexpr const char* kOneOfSeveral =
    "ranks that start without their launcher's word of each other are such runs (srun needs --mpi=pmix)";

}  // namespace lapidary
