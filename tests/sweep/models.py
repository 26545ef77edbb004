"""The timm models of the sweep: the smallest of each family, by what they are made of."""

TIMM = {
    "convolutions": (
        "resnet18",
        "resnet10t.c3_in1k",  # 176 pixels
        "resnetv2_50x1_bit",  # standardised weights, means of 0.5
        "resnest14d",
        "regnety_002",
        "mobilenetv3_small_050",
        "mobilenetv4_conv_small_035",
        "tf_efficientnet_lite0",  # means of 0.5
        "tf_efficientnetv2_b3.in21k_ft_in1k",  # squash
        "tf_efficientnet_b7",  # 600 pixels
        "mixnet_s",
        "tinynet_e",  # 106 pixels
        "ghostnet_100",
        "convnext_atto",
        "convnextv2_nano.fcmae_ft_in22k_in1k_384",  # 384 pixels, squash
        "densenet121",
        "vgg11",
        "inception_v3",  # 299 pixels
        "hrnet_w18_small",
        "fastvit_t8",
        "repvit_m0_9",
        "cspresnet50",
        "dm_nfnet_f0",  # 192 pixels, squash
        "hgnetv2_b0",
        "focalnet_tiny_srf",
        "mambaout_femto",
        "csatv2",  # 512 pixels, a cosine transform
    ),
    "transformers, absolute positions": (
        "test_vit",  # 160 pixels
        "vit_tiny_patch16_224",
        "vit_wee_patch16_reg1_gap_256",  # register tokens
        "deit_tiny_distilled_patch16_224",  # distilled heads
        "naflexvit_base_patch16_gap",
        "cait_xxs24_224",
        "xcit_nano_12_p16_224",
        "crossvit_9_240",
        "tnt_s_patch16_224",
        "convit_tiny",
        "pit_ti_distilled_224",
        "volo_d1_224",
        "hiera_tiny_224",
        "hiera_small_abswin_256",
        "twins_pcpvt_small",
        "twins_svt_small",
        "nest_tiny_jx",
        "pvt_v2_b0",
    ),
    "transformers, relative positions": (
        "vit_relpos_small_patch16_224",
        "beitv2_base_patch16_224",
        "swin_tiny_patch4_window7_224",
        "swinv2_tiny_window8_256",
        "mvitv2_tiny",
        "gcvit_xxtiny",
    ),
    "transformers, rotary positions": (
        "vit_small_patch16_rope_224",
        "eva02_tiny_patch14_336",  # 336 pixels
    ),
    "hybrids": (
        "mobilenetv4_hybrid_medium",
        "mobilevit_xxs",
        "edgenext_xx_small",
        "efficientvit_b0",
        "efficientformerv2_s0",
        "swiftformer_xs",
        "levit_128s",
        "poolformerv2_s12",
        "coat_tiny",
        "coatnet_nano_rw_224",
        "maxvit_tiny_tf_384",  # 384 pixels, squash
        "davit_tiny",
        "tiny_vit_5m_224",  # 21,841 classes
        "halonet26t",
        "lambda_resnet26t",
    ),
    "perceptrons and recurrence": (
        "mixer_s32_224",
        "gmlp_s16_224",
        "sequencer2d_s",
    ),
}

# torchvision's, exported as a user would and brought along as ONNX files.
TORCHVISION = ("squeezenet1_1", "googlenet", "shufflenet_v2_x0_5", "vit_b_32")
