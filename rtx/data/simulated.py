"""The seven simulated arms as RLDS data sets: their keys, and how each becomes the canonical action and proprio.

Each arm keeps a convention of its own on purpose, as the real sets do. This table is the interface between who writes
the shards (`rtx/eval/sim/conventions.py`) and who reads them (the records below); paths are under `steps/`:

    set          path                                          type         meaning
    -----------  --------------------------------------------  -----------  ------------------------------------------------
    every set    is_first, is_last, is_terminal                bool         is_terminal: last step of an episode that ended
                                                                            itself (the terminate action); else False
                 reward, discount                              float32
                 (episode_metadata may hold anything)
    sim_panda    observation/image                             jpeg         primary, RGB
                 observation/wrist_image                       jpeg         wrist, RGB
                 observation/state                             float32[8]   pos m, quat_xyzw, gripper 0 closed..1 open
                 action                                        float32[7]   delta pos m, delta rpy rad (base), gripper 1 open 0 closed
                 language_instruction                          string
    sim_sawyer   observation/front_rgb                         jpeg         primary, RGB
                 observation/hand_rgb                          jpeg         wrist, RGB
                 observation/ee_position                       float32[3]   m
                 observation/ee_quat_wxyz                      float32[4]
                 observation/gripper_closed                    float32[1]   0 open..1 closed
                 observation/natural_language_instruction      string
                 action/world_vector                           float32[3]   delta pos m (base)
                 action/rotation_delta                         float32[3]   delta rpy rad (base)
                 action/gripper_closedness_action              float32[1]   -1 open, +1 closed
                 action/terminate_episode                      int32[3]     one-hot: terminate, arm + gripper, base
    sim_ur5e     observation/image                             jpeg         primary, RGB
                 observation/hand_image                        jpeg         wrist, channels stored as BGR
                 observation/robot_state                       float32[8]   pos m, quat_wxyz, gripper 0 open..1 closed
                 observation/natural_language_instruction      string
                 action/translation_cm                         float32[3]   delta pos cm (base)
                 action/rotation_axis_angle                    float32[3]   delta axis-angle rad (base)
                 action/gripper_closedness                     float32[1]   0 open, 1 closed
    sim_iiwa     observation/cam_front                         jpeg         primary, RGB
                 observation/cam_wrist                         jpeg         wrist, RGB
                 observation/tcp_position                      float32[3]   m
                 observation/tcp_rpy                           float32[3]   rad
                 observation/gripper                           float32[1]   0 open..1 closed
                 action                                        float32[8]   target pos m, target quat_wxyz (base), gripper 0 open 1 closed
                 language_instruction                          string
    sim_kinova3  observation/rgb_front                         jpeg         primary, RGB
                 observation/rgb_hand                          jpeg         wrist, RGB
                 observation/ee_pose                           float32[7]   pos m, quat_xyzw
                 observation/gripper_percent                   float32[1]   0 open..100 closed
                 action/translation_tool                       float32[3]   delta pos m (tool frame)
                 action/rotation_tool_axis_angle               float32[3]   delta axis-angle rad (tool frame)
                 action/gripper_percent                        float32[1]   0 open, 100 closed
                 language_instruction                          string
    sim_jaco     observation/image                             jpeg         primary, RGB
                 observation/image_wrist                       jpeg         wrist, RGB
                 observation/end_effector_pose_deg             float32[6]   pos m, rpy deg
                 observation/gripper                           float32[1]   -1 closed..1 open
                 observation/natural_language_instruction      string
                 action/world_vector                           float32[3]   delta pos m (base)
                 action/rotation_delta_deg                     float32[3]   delta rpy deg (base)
                 action/gripper                                float32[1]   1 open, -1 closed
    sim_vx300s   observation/image_0                           jpeg         primary, RGB
                 observation/image_1                           jpeg         wrist, RGB
                 observation/state                             float32[7]   pos m, rpy rad (true base orientation), gripper 0 closed..1 open
                 action                                        float32[7]   delta pos m, delta rpy rad (base), gripper 1 open 0 closed
                 language_instruction                          string

Poses are of the end effector in the robot's base frame, measured at the start of the step; the action of a step is what
was commanded from there. R(rpy) = Rz(yaw) Ry(pitch) Rx(roll). Each key is exactly one native field or the concatenation
in the order of `SIM_ARMS[name].action` and `.proprio`. Every step, the last one too, holds a valid action.
"""

from __future__ import annotations
