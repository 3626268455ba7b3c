#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "configs/mesh.h"
#include "configs/wire/wire.pb.h"

namespace lapidary {

/// Options and their values that all ranks of a job must have alike.
using Settings = std::vector<std::pair<std::string, std::string>>;

/// What a worker's hello has to agree with.
struct Expected {
  std::string version, token;
  Settings settings;
  Mesh mesh;
};

/// Why the worker cannot join, in a sentence for it; nothing where it can. One with a wrong token learns
/// nothing else. Replica and rank of a hello that passes are within the mesh.
std::optional<std::string> refusal_of(const wire::Hello& hello, const Expected& expected);

wire::Mesh to_wire(const Mesh& mesh);

}  // namespace lapidary
