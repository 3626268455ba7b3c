#include "sharding/checkpoint/canonical_names.h"

namespace lapidary {
namespace {

bool strip(std::string_view& name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return false;
  name.remove_prefix(prefix.size());
  return true;
}

}  // namespace

std::string canonical_name(std::string_view stored) {
  std::string_view name = stored;
  while (strip(name, "base_model.") || strip(name, "model.")) {
  }
  if (strip(name, "language_model.")) {
    if (name.starts_with("lm_head.")) return std::string(name);
    strip(name, "model.");
    return "language_model." + std::string(name);
  }
  if (strip(name, "vision_tower.")) {
    strip(name, "vision_model.");
    return "vision_tower." + std::string(name);
  }
  return std::string(name);
}

}  // namespace lapidary
