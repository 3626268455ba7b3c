#pragma once

#include "coordinator/cli/caption_job.h"
#include "coordinator/fleet/stop_signal.h"

namespace lapidary {

/// The whole job of `lapidary caption` where all ranks are here: one mpirun with everything, or this process
/// alone. Gives this rank's exit code; throws on every rank what stands in the job's way at its start.
int caption_here(CaptionOptions& options, StopSignal& stop);

}  // namespace lapidary
