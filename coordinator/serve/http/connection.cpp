#include "coordinator/serve/http/connection.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <deque>
#include <utility>

#include "configs/error.h"
#include "configs/wire/heartbeat_monitor.h"
#include "coordinator/serve/http/body_parser.h"
#include "coordinator/serve/http/exchange.h"
#include "coordinator/serve/http/head_check.h"

namespace lapidary {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr size_t kReadAtOnce = size_t{64} << 10;
/// A client may send its next requests before it has its answer; of more than this the rest waits in its own
/// system.
constexpr size_t kMostAhead = size_t{64} << 10;
constexpr double kLingering =
    2;  // seconds in which a refused client may still send, so that it sees the answer

template <class Stream>
constexpr bool kIsTls = !std::is_same_v<Stream, tcp::socket>;

/// A stream, its reader and its writer. What has come and is not taken is `in_`, what is to go is `out_`.
template <class Stream>
class Connection final : public HttpConnection,
                         public AnswerPipe,
                         public std::enable_shared_from_this<Connection<Stream>> {
 public:
  Connection(std::shared_ptr<HttpShared> shared, Stream stream, std::shared_ptr<asio::ssl::context> tls)
      : shared_(std::move(shared)),
        tls_(std::move(tls)),
        stream_(std::move(stream)),
        arrived_(stream_.get_executor()),
        to_write_(stream_.get_executor()),
        write_deadline_(stream_.get_executor()) {
    arrived_.expires_at(Clock::time_point::max());
    to_write_.expires_at(Clock::time_point::max());
    error_code ignored;
    const auto peer = stream_.lowest_layer().remote_endpoint(ignored);
    if (!ignored) peer_ = peer.address().to_string();
    stream_.lowest_layer().set_option(tcp::no_delay(true), ignored);
  }

  void start() {
    shared_->connections.insert(this->shared_from_this());
    spawn(&Connection::serve);
  }

  void close() override {
    if (std::exchange(closed_, true)) return;
    error_code ignored;
    stream_.lowest_layer().close(ignored);
    arrived_.cancel();
    to_write_.cancel();
    write_deadline_.cancel();
    out_.clear();
    shared_->connections.erase(this->shared_from_this());
    if (const auto exchange = exchange_.lock()) exchange->leave();
  }
  void close_if_idle() override {
    if (idle_) close();
  }

  // --- what an answer needs of its connection
  bool open() const override { return !closed_; }
  void write(std::string bytes) override {
    if (closed_) return;
    unsent_ += bytes.size();
    out_.push_back(std::move(bytes));
    to_write_.cancel();
  }
  bool behind() const override { return unsent_ > shared_->options.max_unsent; }
  void drop() override {
    asio::post(stream_.get_executor(), [self = this->shared_from_this()] { self->close(); });
  }
  void answered() override { arrived_.cancel(); }
  bool draining() const override { return shared_->draining; }

 private:
  using Self = Connection<Stream>;

  /// The connection lives as long as any of its coroutines.
  static asio::awaitable<void> hold(std::shared_ptr<Self> self, asio::awaitable<void> (Self::*work)()) {
    co_await ((*self).*work)();
  }
  void spawn(asio::awaitable<void> (Self::*work)()) {
    asio::co_spawn(stream_.get_executor(), hold(this->shared_from_this(), work), asio::detached);
  }

  asio::awaitable<void> serve() {
    bool goes_on = co_await shake_hands();
    if (goes_on) {
      spawn(&Connection::read);
      spawn(&Connection::write_out);
      while (goes_on) goes_on = co_await serve_one();
      co_await linger();
    }
    close();
  }

  asio::awaitable<bool> shake_hands() {
    if constexpr (kIsTls<Stream>) {
      asio::steady_timer deadline(stream_.get_executor(), nanoseconds_of(shared_->options.head_seconds));
      deadline.async_wait([self = this->shared_from_this()](const error_code& error) {
        if (!error) self->close();
      });
      error_code error;
      co_await stream_.async_handshake(asio::ssl::stream_base::server,
                                       asio::redirect_error(asio::use_awaitable, error));
      co_return !error && !closed_;
    }
    co_return true;
  }

  /// Everything that comes, from the beginning to the end: also a client's leaving is seen here.
  asio::awaitable<void> read() {
    std::string piece(kReadAtOnce, '\0');
    while (!closed_) {
      if (in_.size() >= kMostAhead && !wants_more_) {
        co_await wait(Clock::time_point::max());
        continue;
      }
      error_code error;
      const size_t size = co_await stream_.async_read_some(asio::buffer(piece),
                                                           asio::redirect_error(asio::use_awaitable, error));
      if (closed_) co_return;
      if (error) {
        ended_ = true;
        if (!exchange_.expired()) co_return close();  // who asked has left
        arrived_.cancel();
        co_return;
      }
      in_.append(piece, 0, size);
      arrived_.cancel();
    }
  }

  asio::awaitable<void> write_out() {
    while (!closed_) {
      if (out_.empty()) {
        error_code ignored;
        co_await to_write_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
        continue;
      }
      std::deque<std::string> now = std::exchange(out_, {});
      std::vector<asio::const_buffer> buffers;
      size_t size = 0;
      for (const std::string& bytes : now) {
        buffers.push_back(asio::buffer(bytes));
        size += bytes.size();
      }
      write_deadline_.expires_after(nanoseconds_of(shared_->options.write_seconds));
      write_deadline_.async_wait([self = this->weak_from_this()](const error_code& error) {
        if (const auto connection = self.lock(); !error && connection) connection->close();
      });
      error_code error;
      co_await asio::async_write(stream_, buffers, asio::redirect_error(asio::use_awaitable, error));
      if (closed_) co_return;
      write_deadline_.cancel();
      unsent_ -= size;
      if (error) co_return close();
      arrived_.cancel();  // who waits for all to be out
    }
  }

  /// Until something changes, or the time is over; false then.
  asio::awaitable<bool> wait(Clock::time_point until) {
    asio::steady_timer& timer = arrived_;
    // Several wait here at times: each is woken by each change and looks for itself.
    if (timer.expiry() > until || timer.expiry() < Clock::now()) timer.expires_at(until);
    error_code error;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
    co_return Clock::now() < until;
  }

  static Clock::time_point in(double seconds) {
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(nanoseconds_of(seconds));
  }

  /// One request and its answer; false where the connection is to be closed.
  asio::awaitable<bool> serve_one() {
    const auto head_bytes = co_await read_head();
    if (!head_bytes) co_return false;
    CheckedHead checked = check_head(*head_bytes);
    if (checked.refusal) {
      refuse(checked.refusal->status, checked.refusal->message);
      co_return false;
    }
    RequestHead& head = checked.head;
    head.request.peer = peer_;
    HttpRules rules = shared_->events.rules(head.request);
    auto exchange = std::make_shared<Exchange>(this->shared_from_this(), head);
    exchange_ = exchange;
    BodyHold hold(*shared_);
    if (rules.refusal) {
      const bool unread = head.has_body();
      if (unread) exchange->state()->closes = true;
      exchange->respond(*rules.refusal);
      if (unread) co_return false;
    } else {
      bool read = true;
      if (head.has_body()) read = co_await read_body(*head_bytes, head, rules, hold, *exchange);
      if (!read) co_return false;
      ++shared_->in_progress;
      const Counted counted(*shared_);
      const auto answer = exchange->state();
      shared_->events.request(std::move(exchange));
      while (!closed_ && !answer->whole && !answer->forgotten) co_await wait(Clock::time_point::max());
      co_return !closed_ && answer->whole && !answer->closes;
    }
    co_return !closed_ && !exchange->state()->closes;
  }

  /// Of all bodies; what is held is given back with the request.
  struct BodyHold {
    explicit BodyHold(HttpShared& all) : shared(all) {}
    ~BodyHold() { shared.bodies -= bytes; }
    bool add(size_t more) {
      if (shared.bodies + more > shared.options.max_bodies) return false;
      shared.bodies += more;
      bytes += more;
      return true;
    }
    HttpShared& shared;
    size_t bytes = 0;
  };
  struct Counted {
    explicit Counted(HttpShared& all) : shared(all) {}
    ~Counted() { --shared.in_progress; }
    HttpShared& shared;
  };

  /// None: the client has left, or was refused.
  asio::awaitable<std::optional<std::string>> read_head() {
    // Empty lines before a request are passed over (RFC 9112, 2.2).
    Clock::time_point until = in(shared_->options.idle_seconds);
    idle_ = true;
    size_t looked = 0;
    for (bool begun = false; !closed_;) {
      while (!begun && in_.starts_with("\r\n")) in_.erase(0, 2);
      if (!in_.empty() && !std::exchange(begun, true)) {
        idle_ = false;
        until = in(shared_->options.head_seconds);
      }
      const size_t end = in_.find("\r\n\r\n", looked > 3 ? looked - 3 : 0);
      if (end != in_.npos && end + 4 <= shared_->options.max_head) {
        std::string head = in_.substr(0, end + 4);
        in_.erase(0, end + 4);
        co_return head;
      }
      looked = in_.size();
      if (looked > shared_->options.max_head) {
        refuse(431, cat("the request's head has more than ", shared_->options.max_head, " bytes"));
        break;
      }
      // A lone LF ends lines for some readers: it is no head that goes on.
      if (const size_t lf = in_.find('\n'); lf != in_.npos && (lf == 0 || in_[lf - 1] != '\r')) {
        refuse(400, "a line of the head does not end in CR LF");
        break;
      }
      if (ended_ || (begun == false && shared_->draining)) break;
      const bool in_time = co_await wait(until);
      if (in_time) continue;
      if (begun) refuse(408, "the request's head took too long");
      break;
    }
    co_return std::nullopt;
  }

  asio::awaitable<bool> read_body(const std::string& head_bytes, const RequestHead& head,
                                  const HttpRules& rules, BodyHold& hold, Exchange& exchange) {
    if (head.content_length.value_or(0) > rules.max_body) {
      refuse(413, too_large(rules.max_body));
      co_return false;
    }
    if (head.expects_continue) write("HTTP/1.1 100 Continue\r\n\r\n");
    std::optional<HeadRefusal> refusal;
    try {
      BodyParser parser(head_bytes, rules.max_body, [&](std::string_view piece) {
        if (rules.sink) return rules.sink->write(piece);
        if (!hold.add(piece.size())) throw Error("");
        exchange.request().body.append(piece);
      });
      Clock::time_point until = in(shared_->options.body_seconds);
      const auto per_byte = std::chrono::microseconds(1);  // 10 MB in 10 s
      wants_more_ = true;
      while (!parser.is_done() && !closed_) {
        const size_t taken = parser.take(in_);
        in_.erase(0, taken);
        until += per_byte * static_cast<int64_t>(taken);
        if (parser.is_done()) break;
        if (ended_) co_return false;
        // What the parser does not take is the begin of a chunk's head.
        if (in_.size() > kMostAhead) fail("a chunk's head has more than ", kMostAhead, " bytes");
        arrived_.cancel();  // the reader may have paused
        const bool in_time = co_await wait(until);
        if (in_time) continue;
        refusal = {408, "the request's body took too long"};
        break;
      }
    } catch (const BodyTooLarge&) {
      refusal = {413, too_large(rules.max_body)};
    } catch (const Error& error) {
      refusal = error.what()[0] == '\0'
                    ? HeadRefusal{503, "the server holds as many bytes of requests as it may; try again"}
                    : HeadRefusal{400, error.what()};
    }
    wants_more_ = false;
    if (refusal) refuse(refusal->status, refusal->message);
    co_return !refusal && !closed_;
  }

  static std::string too_large(size_t most) {
    return cat("the request's body has more than the ", most, " bytes that it may have");
  }

  /// The answer to what is no request; the connection is closed behind it.
  void refuse(int status, const std::string& message) {
    HttpResponse response = error_response(status, "invalid_request_error", "bad_request", message);
    if (status == 503) response.headers.emplace_back("Retry-After", "1");
    write(response_bytes(response, false, true));
  }

  /// What is to go goes out; then what the client still sends is thrown away for a moment: closing at once
  /// would reset the connection before the answer is read.
  asio::awaitable<void> linger() {
    const Clock::time_point until = in(kLingering + (unsent_ > 0 ? shared_->options.write_seconds : 0));
    for (bool in_time = true; !closed_ && unsent_ > 0 && in_time;) in_time = co_await wait(until);
    if (closed_) co_return;
    error_code ignored;
    stream_.lowest_layer().shutdown(tcp::socket::shutdown_send, ignored);
    wants_more_ = true;
    const Clock::time_point end = in(kLingering);
    while (!closed_ && !ended_) {
      in_.clear();
      arrived_.cancel();
      const bool in_time = co_await wait(end);
      if (!in_time) break;
    }
  }

  const std::shared_ptr<HttpShared> shared_;
  const std::shared_ptr<asio::ssl::context> tls_;  // outlives the stream
  Stream stream_;
  asio::steady_timer arrived_, to_write_, write_deadline_;
  std::string in_, peer_;
  std::deque<std::string> out_;
  size_t unsent_ = 0;
  std::weak_ptr<Exchange> exchange_;
  bool idle_ = false, ended_ = false, closed_ = false, wants_more_ = false;
};

template <class Stream>
void start(std::shared_ptr<HttpShared> shared, Stream stream, std::shared_ptr<asio::ssl::context> tls) {
  std::make_shared<Connection<Stream>>(std::move(shared), std::move(stream), std::move(tls))->start();
}

}  // namespace

void serve_connection(std::shared_ptr<HttpShared> shared, tcp::socket socket,
                      std::shared_ptr<asio::ssl::context> tls) {
  if (tls)
    start(std::move(shared), asio::ssl::stream<tcp::socket>(std::move(socket), *tls), tls);
  else
    start(std::move(shared), std::move(socket), nullptr);
}

}  // namespace lapidary
