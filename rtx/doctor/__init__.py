"""`rtx doctor`: does this robot, as it is set up, show the policy what it was trained on, and do what it says?"""
