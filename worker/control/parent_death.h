#pragma once

namespace lapidary {

/// From now on the system kills this process when its parent ends, so that a killed mpirun leaves no ranks
/// behind. To be called early in main: a parent that had ended before is found by MPI_Init, which needs it.
void die_with_parent();

}  // namespace lapidary
