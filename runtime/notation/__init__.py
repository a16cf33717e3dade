"""What was read, written as MusicXML and MIDI."""
