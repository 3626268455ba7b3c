#include "coordinator/fleet/hello_check.h"

#include <algorithm>

#include "configs/error.h"
#include "coordinator/fleet/token.h"
#include "coordinator/fleet/worker_check.h"

namespace lapidary {
namespace {

Mesh from_wire(const wire::Mesh& mesh) {
  return {mesh.tp(), mesh.pp(), mesh.replicas(), mesh.vision_ranks()};
}

std::string flags(const Mesh& mesh) {
  return cat("--tp ", mesh.tp, " --pp ", mesh.pp, " --replicas ", mesh.replicas, " --vision-ranks ",
             mesh.vision_ranks);
}

std::optional<std::string> other_setting(const wire::Hello& hello, const Settings& expected) {
  for (const auto& [name, value] : expected) {
    const auto said =
        std::find_if(hello.settings().begin(), hello.settings().end(),
                     [&wanted = name](const wire::Setting& setting) { return setting.name() == wanted; });
    if (said == hello.settings().end()) return cat("the worker does not say its --", name);
    if (said->value() != value && name == "model")
      return cat("the worker's model is not the coordinator's: their fingerprints are ",
                 shown_text(said->value()), " and ", value);
    if (said->value() != value)
      return cat("the worker was started with --", name, " ", shown_text(said->value()),
                 ", the coordinator with ", value);
  }
  return std::nullopt;
}

std::optional<std::string> out_of_range(const char* what, int value, int count) {
  if (value >= 0 && value < count) return std::nullopt;
  return cat(what, " ", value, " is not one of the ", count, " of the job, which count from 0");
}

}  // namespace

std::optional<std::string> refusal_of(const wire::Hello& hello, const Expected& expected) {
  if (!is_same_token(expected.token, hello.token())) return "wrong token";
  if (hello.version() != expected.version)
    return cat("the worker is of version ", shown_text(hello.version()), ", the coordinator of ",
               expected.version);
  if (from_wire(hello.mesh()) != expected.mesh)
    return cat("the worker was started with ", flags(from_wire(hello.mesh())), ", the coordinator with ",
               flags(expected.mesh));
  if (auto reason = other_setting(hello, expected.settings)) return reason;
  if (auto reason = out_of_range("replica", hello.replica(), expected.mesh.replicas)) return reason;
  return out_of_range("rank", hello.rank(), expected.mesh.replica_ranks());
}

wire::Mesh to_wire(const Mesh& mesh) {
  wire::Mesh message;
  message.set_tp(mesh.tp);
  message.set_pp(mesh.pp);
  message.set_replicas(mesh.replicas);
  message.set_vision_ranks(mesh.vision_ranks);
  return message;
}

}  // namespace lapidary
