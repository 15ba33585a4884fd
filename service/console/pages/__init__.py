"""The pages of the console, one module each: what is shown, and the steps that its forms take."""
