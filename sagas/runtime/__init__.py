"""The shell: orchestrator, relay, timers and the participant kit, over the ports only."""
