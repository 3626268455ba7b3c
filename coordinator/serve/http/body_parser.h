#pragma once

#include <boost/beast/http/basic_parser.hpp>
#include <functional>
#include <string_view>

namespace lapidary {

/// The body of a message whose head was checked, by Beast: its length or its chunks. Pieces go to `piece` as
/// they come.
class BodyParser : public boost::beast::http::basic_parser<true> {
 public:
  using Piece = std::function<void(std::string_view)>;
  /// `head`: the bytes that were checked. Throws Error where Beast reads them otherwise. `max_bytes`: of the
  /// body.
  BodyParser(std::string_view head, uint64_t max_bytes, Piece piece);

  /// Takes what belongs to this message and gives how many bytes that were. Throws Error for what is no body,
  /// BodyTooLarge beyond the limit, and what `piece` throws.
  size_t take(std::string_view bytes);

 private:
  using error_code = boost::system::error_code;
  using string_view = boost::beast::string_view;
  using verb = boost::beast::http::verb;
  using field = boost::beast::http::field;
  void on_request_impl(verb, string_view, string_view, int, error_code& error) override { error = {}; }
  void on_response_impl(int, string_view, int, error_code& error) override { error = {}; }
  void on_field_impl(field, string_view, string_view, error_code& error) override { error = {}; }
  void on_header_impl(error_code& error) override { error = {}; }
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code& error) override { error = {}; }
  size_t on_body_impl(string_view body, error_code& error) override;
  void on_chunk_header_impl(std::uint64_t, string_view extensions, error_code& error) override;
  size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code& error) override;
  void on_finish_impl(error_code& error) override { error = {}; }

  Piece piece_;
};

/// A body beyond its limit: 413.
struct BodyTooLarge {};

}  // namespace lapidary
