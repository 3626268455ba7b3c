#pragma once

#include <optional>
#include <string>

namespace lapidary {

/// ".jpg" of "a/B.JPG"; "" where there is none.
std::string lower_extension(const std::string& path);

/// Whether a file's extension is one of a JPEG, PNG or WebP, in any case. A file of another name may be a
/// picture all the same: its bytes tell.
bool is_image_name(const std::string& path);

/// Whether a file's extension is one of a tar, plain or compressed (.tar, .tar.gz, .tgz, .tar.zst, …), in any
/// case; its length.
std::optional<size_t> tar_extension(const std::string& path);

/// What `picture_format` needs of a file; "" where it is no regular file or cannot be read, and then `opened`
/// is false.
std::string first_bytes(const std::string& path, bool& opened);

/// From the root, links as they are: workers may run in another folder.
std::string absolute_path(const std::string& path);

/// "p1" of "./p1/": how a source is told from others, however it is spelled.
std::string plain_path(const std::string& path);

}  // namespace lapidary
