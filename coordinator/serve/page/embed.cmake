# cmake -DOUT=FILE -DFOLDER=FOLDER -P embed.cmake: a source that holds the page's files as bytes.
set(source "#include \"coordinator/serve/page/page_bytes.h\"\n\nnamespace lapidary {\n")
foreach(pair "kIndexHtml index.html" "kPageCss page.css" "kPageJs page.js")
  separate_arguments(pair)
  list(GET pair 0 name)
  list(GET pair 1 file)
  file(READ ${FOLDER}/${file} bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" bytes "${bytes}")
  # Compilers bound the length of one literal: pieces follow each other.
  string(REGEX REPLACE "((\\\\x[0-9a-f][0-9a-f])(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?(\\\\x[0-9a-f][0-9a-f])?)" "\\1\"\n\"" bytes "${bytes}")
  string(APPEND source "constexpr char ${name}Bytes[] =\n\"${bytes}\";\nconst std::string_view ${name}(${name}Bytes, sizeof ${name}Bytes - 1);\n")
endforeach()
string(APPEND source "}  // namespace lapidary\n")
file(WRITE ${OUT} "${source}")
