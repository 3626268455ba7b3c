#pragma once

#include <optional>
#include <string_view>

namespace lapidary {

/// A file of the page, as the program carries it.
struct PageFile {
  std::string_view bytes;
  std::string_view type;
};

/// "/", "/page.css", "/page.js"; none for any other path.
std::optional<PageFile> page_file(std::string_view path);

/// The page runs its own script, shows its own style and pictures of its user, talks with its own server, and
/// does nothing else.
inline constexpr std::string_view kPagePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src "
    "'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

}  // namespace lapidary
