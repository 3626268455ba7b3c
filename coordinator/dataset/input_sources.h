#pragma once

#include <string>
#include <vector>

#include "coordinator/dataset/input_source.h"

namespace lapidary {

/// What a job is made from, in order, globs and braces gone.
struct Sources {
  std::vector<InputSource> all;
  std::vector<Shard> shards;
};

/// A path that exists is itself, whatever it looks like. Throws a sentence for what is not there, and for a
/// glob without matches.
Sources resolve_sources(const std::vector<std::string>& given);

/// Looks into the sources as far as that takes no more than about a second. Throws a sentence for a folder
/// without images, a bad line in the first ones of a manifest, and a tar that is none.
void check_sources(const Sources& sources);

}  // namespace lapidary
