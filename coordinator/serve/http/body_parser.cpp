#include "coordinator/serve/http/body_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>
#include <limits>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

namespace http = boost::beast::http;

constexpr size_t kMostOfAChunkExtension = 256;

}  // namespace

BodyParser::BodyParser(std::string_view head, uint64_t max_bytes, Piece piece) : piece_(std::move(piece)) {
  eager(true);
  header_limit(std::numeric_limits<uint32_t>::max());  // was held to already
  body_limit(max_bytes);
  take(head);
}

size_t BodyParser::take(std::string_view bytes) {
  size_t taken = 0;
  while (taken < bytes.size() && !is_done()) {
    error_code error;
    const size_t now = put(boost::asio::buffer(bytes.data() + taken, bytes.size() - taken), error);
    taken += now;
    if (error == http::error::body_limit) throw BodyTooLarge{};
    if (error && error != http::error::need_more) fail("the body cannot be read: ", error.message());
    if (error == http::error::need_more || now == 0) break;
  }
  return taken;
}

size_t BodyParser::on_body_impl(string_view body, error_code& error) {
  error = {};
  piece_({body.data(), body.size()});
  return body.size();
}

void BodyParser::on_chunk_header_impl(std::uint64_t, string_view extensions, error_code& error) {
  error = {};
  if (extensions.size() > kMostOfAChunkExtension) error = http::error::bad_chunk_extension;
}

size_t BodyParser::on_chunk_body_impl(std::uint64_t, string_view body, error_code& error) {
  error = {};
  piece_({body.data(), body.size()});
  return body.size();
}

}  // namespace lapidary
