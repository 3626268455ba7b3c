#pragma once

#include <memory>
#include <string>
#include <vector>

#include "coordinator/cli/engine.h"
#include "worker/control/control_link.h"

namespace lapidary {

/// How a rank finds its coordinator, and proves that it belongs to the job.
struct Invitation {
  std::vector<std::string> endpoints;  // "host:port"
  std::string token;
};

/// Why this process ends, on standard error; a terminal that takes nothing holds it up for some seconds only.
void say_last(const std::string& why);

/// The token that a launcher or a user has put into the environment (LAPIDARY_TOKEN); empty: none.
std::string token_from_environment();
constexpr const char* kTokenVariable = "LAPIDARY_TOKEN";

/// Throws the sentence of what does not fit: stages and layers, ranks and heads.
void check_coord(const EngineFlags& flags, const ModelConfig& config, const Mesh& mesh,
                 const MeshCoord& coord);

/// What a process may hold of pictures, in bytes (--image-memory-gb); 0: not said.
int64_t bytes_of_images(const EngineFlags& flags);

/// Finds the coordinator, in `seconds` at most, and says hello. Throws why there is no welcome.
std::unique_ptr<ControlLink> join_job(const EngineFlags& flags, const Mesh& mesh, const MeshCoord& coord,
                                      const Invitation& invitation, double seconds = 60);
/// One rank's work, until the coordinator says stop. `replica` are the replica's ranks. Throws what ended it
/// early, which the coordinator then has heard of. A coordinator that is gone ends the process; where
/// `silent` nothing is said of it, unless the coordinator is there and does not answer.
void work(const EngineFlags& flags, const Mesh& mesh, const MeshCoord& coord, Communicator& replica,
          ControlLink& link, bool silent);

}  // namespace lapidary
