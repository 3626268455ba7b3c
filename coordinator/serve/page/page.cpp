#include "coordinator/serve/page/page.h"

#include "coordinator/serve/page/page_bytes.h"

namespace lapidary {

std::optional<PageFile> page_file(std::string_view path) {
  if (path == "/") return PageFile{kIndexHtml, "text/html; charset=utf-8"};
  if (path == "/page.css") return PageFile{kPageCss, "text/css; charset=utf-8"};
  if (path == "/page.js") return PageFile{kPageJs, "text/javascript; charset=utf-8"};
  return std::nullopt;
}

}  // namespace lapidary
