#pragma once

#include <string>

#include "configs/mesh.h"
#include "configs/wire/wire.pb.h"

namespace lapidary {

/// What can be known of workers before they say anything.
struct WorkerExpectations {
  Mesh mesh;
  bool spans = false;       // they were asked for them
  wire::Capacity capacity;  // by the job's own settings; max_num_seqs 0: not known
};

/// What a worker says comes over a network, and the coordinator allocates, adds up and shows it. Throws a
/// sentence that names the field and both numbers where rank `rank` of a replica cannot mean it. What only
/// the scheduler can know (numbers of steps and encodes) it checks itself.
void check_said(const wire::Frame& frame, int rank, const WorkerExpectations& expected);

/// Fit to be shown: no control characters but line ends and tabs, and no longer than a screen.
std::string shown_text(const std::string& said);

}  // namespace lapidary
