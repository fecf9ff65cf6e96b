"""One run on many devices and hosts: the mesh, what lies where on it, and how processes find each other."""
