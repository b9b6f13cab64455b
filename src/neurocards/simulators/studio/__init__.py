"""What the simulated video companies share: pictures looked at, clips rendered from them and damaged, files served."""
