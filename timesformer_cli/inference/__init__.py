"""A loaded model put to use: on a device, in a dtype, over streams of videos."""
