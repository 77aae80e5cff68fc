#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"

/// The one table of settings: names, variables, ranges and help of every member of `config`. Loading, `townkeeper
/// config`, config/schema/townkeeper.schema.json, config/townkeeper.json and the README's table all come from here.
namespace townkeeper::config {

/// How a value stands in JSON.
enum class value_shape { text, boolean, count, list };

struct setting {
  std::string key;                          ///< path in the file, "git.connect_timeout"
  std::string variable;                     ///< "TOWNKEEPER_GIT_CONNECT_TIMEOUT"
  std::vector<std::string> other_variables; ///< looked at in this order when `variable` is not set ("GIT_TOKEN")
  std::string flag;                         ///< "--git-connect-timeout"; empty for a secret
  std::string accepted;                     ///< completes "accepted is …"
  std::string meaning;                      ///< one line for help and README
  std::string default_text;                 ///< text form of the default; empty: not set
  std::string schema;                       ///< this value's JSON Schema
  value_shape shape = value_shape::text;
  bool is_secret = false;

  /// Reads the text form into its member. The error's message says what is wrong beyond "not `accepted`", or is empty.
  std::function<result<void>(config&, std::string_view)> set;
  /// The text form of the member; `***` for a secret that is set, empty for what is not set.
  std::function<std::string(const config&)> show;
};

/// In the order in which they are shown. Made once; safe from any thread.
const std::vector<setting>& settings();

/// The variable that names the configuration file when there is no `--config`.
inline constexpr std::string_view file_variable = "TOWNKEEPER_CONFIG";

/// The JSON Schema of the file, as config/schema/townkeeper.schema.json holds it.
std::string schema_text();

/// A file that sets every default that exists, as config/townkeeper.json holds it.
std::string defaults_text();

/// The README's table: key, variable, default, accepted, meaning.
std::string markdown_table();

} // namespace townkeeper::config
