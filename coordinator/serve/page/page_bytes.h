#pragma once

#include <string_view>

namespace lapidary {

// Written when the program is built, from the files beside this one (embed.cmake).
extern const std::string_view kIndexHtml, kPageCss, kPageJs;

}  // namespace lapidary
