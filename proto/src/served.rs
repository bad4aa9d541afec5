//! Which fields of the requests this version serves; every other known field is refused by its code, none is ignored.
