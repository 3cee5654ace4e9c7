"""What people said of answers, as annotation tools and sites export it: a row is one vote."""
