// Gives the precompiled header of tk_messages a target to be built in.
#include "messages/type_ids.hpp"
