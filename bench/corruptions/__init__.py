"""The 15 common corruptions of Hendrycks and Dietterich (2019), on the device and with seeds."""
