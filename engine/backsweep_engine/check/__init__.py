"""The check: whether a derivative is right, judged by values of the function (differences, Taylor remainders, the complex step), never by derivatives."""
