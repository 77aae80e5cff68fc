#include "actors/town_link.hpp"
