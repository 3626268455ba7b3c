#pragma once

#include <filesystem>
#include <string>

#include "coordinator/serve/openai/image_reference.h"

namespace lapidary {

/// Reads the file that a request's file:// URL names, in its place: `reference` holds the bytes then. Throws
/// ApiError, which tells nothing of files outside `folder` (links that lead out of it among them), where it
/// is no regular file below it, cannot be read, or has more than `max_bytes`. Empty `folder`: no file is
/// read.
void read_local_image(ImageReference& reference, const std::filesystem::path& folder, size_t max_bytes);

}  // namespace lapidary
