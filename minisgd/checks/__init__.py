"Checks of the exercises, a module for each sheet."
