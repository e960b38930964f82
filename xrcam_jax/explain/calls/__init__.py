"""Each method as a function of its own, so that an editor shows its options: ``xr.grad_cam(model, images)``."""
