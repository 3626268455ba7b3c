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

/// A path that exists is itself, whatever it looks like. Sources among `known` keep their labels and their
/// order. Throws a sentence for what is not there, and for a glob without matches.
Sources resolve_sources(const std::vector<std::string>& given, const std::vector<LabelledSource>& known = {});

/// Throws a sentence for a folder without images, and for the job's only source where it is a tar that is
/// none or a manifest with a bad first line. Where `strict`, for any tar that is none and any bad line of any
/// manifest, which are then read to their ends.
void check_sources(const Sources& sources, bool strict);

/// Whether keys of that kind begin with something of the source's own.
bool has_label(SourceKind kind);
LabelledSource labelled_source(const InputSource& source);

}  // namespace lapidary
