"""Read coherent X-ray speckle patterns while they are measured."""
