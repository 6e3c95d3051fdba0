//! hookmill
